"""How the page looks: colours, system fonts, and the script that counts down and leads through a challenge.

Everything is inside the page; nothing is fetched from elsewhere.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from portrait_anim import challenge_page

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif")
MONO_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def make_theme() -> Any:
    """The theme: one accent colour, quiet greys, fonts of the system."""
    return gr.themes.Base(
        primary_hue="emerald",
        secondary_hue="emerald",
        neutral_hue="slate",
        radius_size="lg",
        font=FONTS,
        font_mono=MONO_FONTS,
    ).set(
        body_background_fill="*neutral_100",
        block_background_fill="white",
        block_border_width="1px",
        block_label_background_fill="white",
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
        block_title_text_color="*neutral_700",
        block_label_text_color="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_text_color="white",
        button_large_text_weight="600",
        body_background_fill_dark="*neutral_950",
        block_background_fill_dark="*neutral_900",
        block_label_background_fill_dark="*neutral_900",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
    )


CSS = """
.gradio-container { width: 100% !important; min-width: 0 !important; max-width: 1120px !important;
  margin: 0 auto !important; padding: 16px !important; }
.card .html-container, #title .html-container { padding: 0 !important; }
.card .block:has(> .html-container > .prose:empty) { display: none; }
.gradio-container .prose, .gradio-container .html-container { font-size: 15px; line-height: 1.5; }
#title h1 { font-size: 1.7rem; margin: 4px 0 2px; }
#title p { margin: 0 0 4px; color: var(--body-text-color-subdued); }
.card { background: var(--block-background-fill); border: 1px solid var(--border-color-primary);
  border-radius: 14px; padding: 16px !important; gap: 12px; }
.card h2 { font-size: 1.12rem; margin: 0; display: flex; align-items: center; gap: 10px; }
.card h2 .number { flex: none; width: 28px; height: 28px; border-radius: 50%; display: inline-flex;
  align-items: center; justify-content: center; background: var(--primary-700); color: white; font-size: .95rem; }
.card h3 { font-size: 1rem; margin: 4px 0 0; }
.dim { color: var(--body-text-color-subdued); }
.note { padding: 9px 12px; border-radius: 8px; border-left: 4px solid; margin: 2px 0; overflow-wrap: anywhere; }
.note.info { background: #eff6ff; border-color: #3b82f6; color: #1e3a5f; }
.note.good { background: #ecfdf5; border-color: #059669; color: #064e3b; }
.note.bad { background: #fef2f2; border-color: #dc2626; color: #7f1d1d; }
.note.wait { background: #fffbeb; border-color: #d97706; color: #713f12; }
.dark .note.info { background: #172a45; color: #dbeafe; }
.dark .note.good { background: #06281f; color: #d1fae5; }
.dark .note.bad { background: #3b1214; color: #fee2e2; }
.dark .note.wait { background: #35240a; color: #fef3c7; }
.challenge ol { margin: 8px 0 8px 4px; padding-left: 22px; font-size: 1.05rem; }
.challenge li { margin: 4px 0; }
.countdown { font-variant-numeric: tabular-nums; font-size: 1.1rem; }
.countdown.over { color: #dc2626; }
.checks, .findings { list-style: none; padding: 0 !important; margin: 6px 0; }
.checks li { display: flex; gap: 10px; padding: 5px 0; border-bottom: 1px solid var(--border-color-primary); }
.checks .pass b { color: #059669; } .checks .fail b { color: #dc2626; }
.findings li { padding: 5px 0 5px 14px; position: relative; overflow-wrap: anywhere; }
.findings li::before { content: "•"; position: absolute; left: 0; color: var(--primary-600); }
.card, .card .column, .card .row, .card .block, .card .html-container { min-width: 0; }
.scroll { overflow-x: auto; max-width: 100%; }
#clip video, #challenge-video video { max-height: 300px; } #result video { max-height: 560px; }
table.grants { width: 100%; border-collapse: collapse; font-size: 14px; margin: 0; }
table.grants th, table.grants td { text-align: left; padding: 6px 8px; white-space: nowrap; border: 0;
  border-bottom: 1px solid var(--border-color-primary); }
table.grants td:first-child { white-space: normal; min-width: 110px; }
table.grants tr.off td { color: var(--body-text-color-subdued); }
table.grants tr.on b { color: #059669; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: 4px 14px; margin: 6px 0; font-size: 14px; }
.facts dt { color: var(--body-text-color-subdued); } .facts dd { margin: 0; overflow-wrap: anywhere; }
.progress { height: 10px; border-radius: 5px; background: var(--neutral-200); overflow: hidden; margin-top: 6px; }
.dark .progress { background: var(--neutral-700); }
.progress .bar { height: 100%; background: var(--primary-600); transition: width .25s linear; }
.progress .busy { opacity: .5; animation: busy 1.4s ease-in-out infinite alternate; }
@keyframes busy { from { opacity: .2; } to { opacity: .7; } }
@media (prefers-reduced-motion: reduce) { .progress .busy { animation: none; } }
.challenge button.lead { padding: 8px 14px; border-radius: 8px; font-weight: 600; color: white;
  background: var(--primary-700); }
.challenge button.lead:disabled { opacity: .5; }
.challenge .digits { font-size: 1.6em; letter-spacing: .3em; font-variant-numeric: tabular-nums; }
.challenge li[aria-current="step"] { font-weight: 700; }
#leading { position: fixed; top: 12px; left: 50%; transform: translateX(-50%); z-index: 1500; margin: 0;
  padding: 12px 22px; border-radius: 12px; font-size: 22px; font-weight: 700; color: white; background: #16202b;
  box-shadow: 0 4px 24px #0006; }
.progress-line { display: flex; gap: 8px; margin: 6px 0 0; font-variant-numeric: tabular-nums; }
.progress-line .dim { margin-left: auto; }
button:focus-visible { outline: 3px solid var(--primary-400); outline-offset: 2px; }
button[aria-label="Trim video to selection"] { display: none; }
@media (max-width: 640px) {
  .gradio-container, .gradio-container > .main, .gradio-container > .main > .wrap { padding: 3px !important; }
  .card .tab-container button { padding: 0 8px !important; font-size: 14px; }
  .card { padding: 12px !important; border-radius: 10px; }
  table.grants th, table.grants td { white-space: normal; padding: 5px 4px; font-size: 13px; }
  .facts { grid-template-columns: 1fr; gap: 0; } .facts dd { margin-bottom: 6px; }
}
"""

SCRIPT = (
    "() => {\n"
    + (challenge_page.HERE / "perform.js").read_text(encoding="utf-8")
    + """
  const show = () => {
    for (const place of document.querySelectorAll('.countdown[data-deadline]')) {
      const left = Math.round(Number(place.dataset.deadline) - Date.now() / 1000);
      place.classList.toggle('over', left <= 0);
      place.textContent = left > 0
        ? Math.floor(left / 60) + ':' + String(left % 60).padStart(2, '0')
        : 'over; issue a new challenge';
    }
  };
  setInterval(show, 500);

  const lead = async (button) => {
    const card = button.closest('.challenge'), banner = document.createElement('p');
    banner.id = 'leading';
    banner.setAttribute('role', 'status');
    banner.setAttribute('aria-live', 'assertive');
    document.body.append(banner);
    button.disabled = true;
    await perform({
      steps: card.querySelectorAll('li'), say: banner, path: JSON.parse(card.dataset.dot), code: card.dataset.code,
    });
    banner.textContent = 'Done. Stop the recording now.';
    button.disabled = false;
    await pause(4);
    banner.remove();
  };
  document.addEventListener('click', (event) => {
    const button = event.target.closest('button.lead');
    if (button) lead(button);
  });
}
"""
)
