// The owner's page: every call carries the key as a bearer token; there are no cookies.
"use strict";

const byId = (id) => document.getElementById(id);
let key = sessionStorage.getItem("key") || "";

async function call(method, path, body) {
  const headers = { Authorization: `Bearer ${key}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (answer.ok) return answer;
  const facts = await answer.json().catch(() => ({}));
  throw new Error(facts.error ? facts.error.message : `The service answered ${answer.status}.`);
}

const get = async (path) => (await call("GET", path)).json();

// Text only ever becomes text: nothing that a person typed is read as HTML.
function element(name, content = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = content;
  if (kind) made.className = kind;
  return made;
}

function button(label, act, kind = "quiet") {
  const made = element("button", label, kind);
  made.type = "button";
  made.onclick = () => guarded(act, made);
  return made;
}

function tell(message, id) {
  for (const other of ["problem", "told"]) byId(other).hidden = other !== id;
  byId(id).textContent = message;
  byId(id).scrollIntoView({ block: "nearest" });
}

async function guarded(act, control) {
  if (control) control.disabled = true;
  try {
    await act();
  } catch (error) {
    tell(error.message, "problem");
  } finally {
    if (control) control.disabled = false;
  }
}

const local = (time) => new Date(time).toLocaleString();
const LEVELS = { owner: "only me", everyone: "everyone here" };

function grantCard(grant, refresh) {
  const card = element("div", "", "card");
  const whom = LEVELS[grant.level] || grant.grantee;
  card.append(element("strong", `${whom}: ${grant.purpose}`));
  card.append(element("p", `${grant.state}; ${grant.used_renders} of ${grant.max_renders} videos, ` +
    `${grant.used_seconds} of ${grant.max_seconds} s used; ${grant.allowed_contexts.join(", ")}; until ${local(grant.expires)}; ` +
    `${grant.commercial ? "commercial" : "not commercial"}; label ${grant.label_size}`, "hint"));
  if (grant.forbidden.length) card.append(element("p", `Forbidden: ${grant.forbidden.join("; ")}`));
  if (grant.state === "active") {
    card.append(button("End this permission", async () => {
      await call("POST", `/grants/${grant.id}/revoke`);
      tell("Ended. Running renders stop at their next piece.", "told");
      await refresh();
    }, "danger"));
  }
  return card;
}

const WORDS = { draft: "is being made", rendered: "was made", refused: "was refused", aborted: "was stopped", withdrawn: "was withdrawn" };

async function useCard(use, refresh) {
  const card = element("div", "", use.read_at ? "card" : "card unread");
  if (use.has_thumbnail) {
    const picture = document.createElement("img");
    picture.alt = "A frame of this video";
    picture.src = URL.createObjectURL(await (await call("GET", `/uses/${use.id}/thumbnail`)).blob());
    card.append(picture);
  }
  card.append(element("strong", `${local(use.time)}: ${WORDS[use.kind] || use.kind}`));
  card.append(element("p", `By ${use.grantee || "somebody without a name"}, for ${use.purpose || "no stated purpose"}, in ${use.context}` +
    `${use.reason ? `; ${use.reason.replaceAll("_", " ")}` : ""}`));
  const row = element("div", "", "row");
  if (!use.read_at) {
    row.append(button("Mark as read", async () => { await call("POST", `/uses/${use.id}/read`); await refresh(); }));
  }
  if (use.permit_id && use.kind !== "withdrawn") {
    row.append(button("Withdraw this video", async () => {
      await call("POST", `/permits/${use.permit_id}/withdraw`, { reason: "" });
      tell("Withdrawn. The file is erased where it is held here, and checks of other copies say so.", "told");
      await refresh();
    }, "danger"));
  }
  card.append(row);
  return card;
}

function newGrant(form) {
  const field = new FormData(form);
  const lines = (name, mark) => field.get(name).split(mark).map((part) => part.trim()).filter(Boolean);
  return {
    level: field.get("level"), grantee: field.get("grantee"), purpose: field.get("purpose"),
    allowed_contexts: lines("allowed_contexts", ","), forbidden: lines("forbidden", "\n"),
    max_renders: Number(field.get("max_renders")), max_seconds: Number(field.get("max_seconds")),
    expires: new Date(`${field.get("expires")}T23:59:59`).toISOString(),
    label_size: field.get("label_size"), commercial: field.get("commercial") === "on",
  };
}

async function showCameo(cameo) {
  const section = byId("cameo-template").content.cloneNode(true).querySelector("section");
  const find = (selector) => section.querySelector(selector), base = `/cameos/${cameo.id}`;
  find("h2").textContent = `${cameo.name} (${cameo.id})`;
  async function refresh() {
    const grants = await get(`${base}/grants`), uses = await get(`${base}/uses`);
    find(".grants").replaceChildren(...grants.map((grant) => grantCard(grant, refresh)));
    find(".uses").replaceChildren(...await Promise.all(uses.map((use) => useCard(use, refresh))));
    if (!grants.length) find(".grants").append(element("p", "Nobody."));
    if (!uses.length) find(".uses").append(element("p", "None so far."));
  }
  await refresh();
  const contact = await get(`${base}/contact`);
  find(".contact [name=email]").value = contact.email;
  find(".contact [name=webhook]").value = contact.webhook;
  const submit = (form, act) => { form.onsubmit = (event) => { event.preventDefault(); guarded(act, form.querySelector("button")); }; };
  submit(find(".grant"), async () => {
    await call("POST", `${base}/grants`, newGrant(find(".grant")));
    tell("Allowed. You can end it at any time.", "told");
    await refresh();
  });
  submit(find(".contact"), async () => {
    const field = new FormData(find(".contact"));
    await call("PUT", `${base}/contact`, { email: field.get("email"), webhook: field.get("webhook") });
    tell("Saved.", "told");
  });
  submit(find(".erase"), async () => {
    const field = new FormData(find(".erase"));
    if (field.get("confirmation").trim() !== cameo.id) throw new Error(`Type ${cameo.id} to erase this cameo.`);
    await call("DELETE", `${base}?withdraw_renders=${field.get("withdraw_renders") === "on"}`);
    section.remove();
    tell("Erased. Only the record without names and pictures is left.", "told");
  });
  find(".export").onclick = (event) => guarded(async () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await (await call("GET", `${base}/export`)).blob());
    link.download = `${cameo.id}.zip`;
    link.click();
  }, event.target);
  return section;
}

function givenCard(grant, refresh) {
  const card = grantCard({ ...grant, state: grant.state === "active" ? "you may use it" : grant.state }, refresh);
  if (grant.forbidden.length && !grant.acknowledged) {
    card.append(button("I have read what is forbidden", async () => {
      await call("POST", `/grants/${grant.id}/acknowledge`);
      await refresh();
    }));
  }
  return card;
}

async function showGiven() {
  const grants = await get("/grants");
  byId("given-list").replaceChildren(...grants.map((grant) => givenCard(grant, showGiven)));
  byId("given").hidden = !grants.length;
}

async function open() {
  const me = await get("/me");
  sessionStorage.setItem("key", key);
  byId("who").textContent = me.name;
  const cameos = await get("/cameos");
  byId("cameos").replaceChildren(...await Promise.all(cameos.map(showCameo)));
  await showGiven();
  byId("sign-in").hidden = true;
  byId("inside").hidden = false;
}

byId("sign-in").onsubmit = (event) => {
  event.preventDefault();
  key = byId("token").value.trim();
  guarded(open);
};
byId("sign-out").onclick = () => { sessionStorage.clear(); location.reload(); };
if (key) guarded(open);
