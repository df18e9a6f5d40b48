// Leads a person through a challenge, shows the moving dot, and records; every page that shows a challenge uses it.
"use strict";

const STEP_S = 3, REST_S = 1, START_S = 2, CODE_S = 8;

function recordingType() {
  const goes = (mime) => window.MediaRecorder && MediaRecorder.isTypeSupported(mime);
  return ["video/mp4", "video/webm;codecs=vp8,opus", "video/webm"].find(goes);
}

function pause(seconds) {
  return new Promise((done) => setTimeout(done, seconds * 1000));
}

// The dot's path: corners [time s, right, up], right and up from -1 to 1 as the person sees the screen.
function placeAt(path, time) {
  const next = path.findIndex((corner) => corner[0] >= time);
  if (next <= 0) return path[next < 0 ? path.length - 1 : 0].slice(1);
  const [before, after] = [path[next - 1], path[next]];
  const share = (time - before[0]) / Math.max(1e-6, after[0] - before[0]);
  return [1, 2].map((axis) => before[axis] + share * (after[axis] - before[axis]));
}

// Moves the dot over the whole window, so that the eyes have far to go.
function followDot(path) {
  const sky = document.createElement("div"), dot = document.createElement("span");
  sky.id = "sky";
  Object.assign(sky.style, { position: "fixed", inset: "0", zIndex: "2000", background: "#f4f2ec" });
  Object.assign(dot.style, {
    position: "absolute", width: "1.8rem", height: "1.8rem", margin: "-0.9rem", borderRadius: "50%",
    background: "#ffd21f", border: "3px solid #16202b",
  });
  sky.append(dot);
  document.body.append(sky);
  const begin = performance.now(), end = path[path.length - 1][0];
  return new Promise((done) => {
    const draw = () => {
      const time = (performance.now() - begin) / 1000, [right, up] = placeAt(path, time);
      dot.style.left = `${50 + right * 46}%`;
      dot.style.top = `${50 - up * 46}%`;
      if (time < end) { requestAnimationFrame(draw); return; }
      sky.remove();
      done();
    };
    draw();
  });
}

// Says one step after the other. `steps`: elements with data-action; `say`: where to; `path`, `code`: may be empty.
async function perform({ steps, say, path, code }) {
  say.textContent = "Look ahead";
  await pause(START_S);
  for (const item of steps) {
    item.setAttribute("aria-current", "step");
    say.textContent = item.textContent;
    if (item.dataset.action === "follow_dot" && path.length) { await pause(START_S); await followDot(path); }
    else await pause(STEP_S);
    item.removeAttribute("aria-current");
    say.textContent = "Look ahead again";
    await pause(REST_S);
  }
  if (code) {
    say.textContent = `Say aloud in English, one by one: ${code.split("").join(" ")}`;
    await pause(CODE_S);
  }
  say.textContent = "Done";
}

// Opens the camera, shown in `preview`; with the microphone when digits have to be said.
async function openCamera(preview, sound) {
  const stream = await navigator.mediaDevices.getUserMedia({
    video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 720 } }, audio: sound,
  });
  preview.srcObject = stream;
  return stream;
}

// Records a stream for as long as `work` goes on, and returns the file; the camera is off afterwards, come what may.
async function record(stream, work, name) {
  const type = recordingType(), pieces = [];
  try {
    const recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 3000000 });
    const ended = new Promise((done) => { recorder.onstop = done; });
    recorder.ondataavailable = (event) => pieces.push(event.data);
    recorder.start(1000);
    await work();
    recorder.stop();
    await ended;
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
  const ending = type.startsWith("video/mp4") ? "mp4" : "webm";
  return new File(pieces, `${name}.${ending}`, { type: type.split(";")[0] });
}
