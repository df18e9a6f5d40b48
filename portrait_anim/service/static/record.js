// Records the challenge in the page where the browser can; without it the file input does the same.
"use strict";

const byId = (id) => document.getElementById(id);
const STEP_S = 3, CODE_S = 6;

function goes(mime) {
  return window.MediaRecorder && MediaRecorder.isTypeSupported(mime);
}

function chosenType() {
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

function followDot(path, dot) {
  dot.hidden = false;
  const begin = performance.now(), end = path[path.length - 1][0];
  return new Promise((done) => {
    const draw = () => {
      const time = (performance.now() - begin) / 1000, [right, up] = placeAt(path, time);
      dot.style.left = `${50 + right * 45}%`;
      dot.style.top = `${50 - up * 45}%`;
      if (time < end) { requestAnimationFrame(draw); return; }
      dot.hidden = true;
      done();
    };
    draw();
  });
}

async function perform(now) {
  const path = JSON.parse(byId("recorder").dataset.dot || "[]");
  now.textContent = "Look ahead";
  await pause(2);
  for (const item of document.querySelectorAll("#steps li")) {
    item.setAttribute("aria-current", "step");
    now.textContent = item.textContent;
    if (item.dataset.action === "follow_dot" && path.length) await followDot(path, byId("dot"));
    else await pause(STEP_S);
    item.removeAttribute("aria-current");
    now.textContent = "Look ahead again";
    await pause(1);
  }
  const code = byId("code");
  if (code) {
    now.textContent = `Say aloud: ${code.textContent.split("").join(" ")}`;
    await pause(CODE_S);
  }
}

async function record(stream) {
  const type = chosenType(), pieces = [];
  const recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 3000000 });
  const ended = new Promise((done) => { recorder.onstop = done; });
  recorder.ondataavailable = (event) => pieces.push(event.data);
  recorder.start(1000);
  await perform(byId("now"));
  recorder.stop();
  await ended;
  const ending = type.startsWith("video/mp4") ? "mp4" : "webm";
  return new File(pieces, `challenge.${ending}`, { type: type.split(";")[0] });
}

async function open() {
  byId("open").disabled = true;
  try {
    const stream = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 720 } }, audio: Boolean(byId("code")),
    });
    byId("preview").srcObject = stream;
    byId("stage").hidden = byId("record").hidden = byId("now").hidden = false;
    byId("open").hidden = true;
    byId("now").textContent = "Hold the phone so that your whole face is in the picture, then start.";
    byId("stage").scrollIntoView({ block: "center" });
    byId("record").focus();
    byId("record").onclick = async () => {
      byId("record").disabled = true;
      const file = await record(stream), files = new DataTransfer();
      stream.getTracks().forEach((track) => track.stop());
      files.items.add(file);
      byId("video").files = files.files;
      byId("stage").hidden = byId("record").hidden = byId("now").hidden = true;
      byId("wait").textContent = "Your video is ready. Hand it in now.";
      byId("send").focus();
    };
  } catch (error) {
    byId("open").disabled = false;
    byId("wait").textContent = "The camera could not be opened. Choose or record a video with the field below.";
  }
}

const canRecord = Boolean(navigator.mediaDevices && chosenType() && window.DataTransfer);

if (byId("can-show-dot")) {
  // The first page: a dot to follow is asked for only where the next page can show it while it records.
  const plain = new URLSearchParams(location.search).has("plain");
  byId("can-show-dot").value = canRecord && !plain ? "yes" : "no";
} else {
  byId("recorder").hidden = !canRecord;
  byId("open").onclick = open;
  byId("until").textContent = new Date(byId("until").dateTime).toLocaleTimeString();
  byId("answer").onsubmit = () => {
    byId("send").disabled = true;
    byId("wait").textContent = "Sending and checking. This takes up to a few minutes; please keep this page open.";
  };
}
