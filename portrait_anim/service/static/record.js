// Records the challenge in the page where the browser can; without it the file input does the same.
"use strict";

const byId = (id) => document.getElementById(id);

function lead() {
  return perform({
    steps: document.querySelectorAll("#steps li"), say: byId("now"),
    path: JSON.parse(byId("recorder").dataset.dot), code: byId("code") ? byId("code").textContent : "",
  });
}

async function open() {
  byId("open").disabled = true;
  try {
    const stream = await openCamera(byId("preview"), Boolean(byId("code")));
    byId("stage").hidden = byId("record").hidden = byId("now").hidden = false;
    byId("open").hidden = true;
    byId("now").textContent = "Hold the phone so that your whole face is in the picture, then start.";
    byId("stage").scrollIntoView({ block: "center" });
    byId("record").focus();
    byId("record").onclick = async () => {
      byId("record").disabled = true;
      try {
        const file = await record(stream, lead, "challenge"), files = new DataTransfer();
        files.items.add(file);
        byId("video").files = files.files;
        byId("wait").textContent = "Your video is ready. Hand it in now.";
        byId("send").focus();
      } catch (error) {
        failed();
      }
      byId("stage").hidden = byId("record").hidden = byId("now").hidden = true;
    };
  } catch (error) {
    failed();
  }
}

function failed() {
  byId("open").disabled = byId("open").hidden = byId("record").disabled = false;
  byId("wait").textContent = "The camera could not be used. Choose or record a video with the field below.";
}

const canRecord = Boolean(navigator.mediaDevices && recordingType() && window.DataTransfer);

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
