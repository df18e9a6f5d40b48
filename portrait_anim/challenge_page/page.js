// The page that `portrait-anim cameo challenge` writes: it opens from disk, sends nothing, and saves the recording.
"use strict";

const byId = (id) => document.getElementById(id);
const facts = byId("challenge").dataset;

function lead() {
  byId("now").hidden = false;
  return perform({
    steps: document.querySelectorAll("#steps li"), say: byId("now"), path: JSON.parse(facts.dot), code: facts.code,
  });
}

async function recordHere() {
  byId("here").disabled = byId("elsewhere").disabled = true;
  try {
    byId("stage").hidden = false;
    const stream = await openCamera(byId("preview"), Boolean(facts.code));
    byId("told").scrollIntoView();
    byId("told").textContent = "Your whole face should be in the picture. It starts in 5 seconds.";
    await pause(5);
    byId("told").textContent = "";
    offer(await record(stream, lead, facts.id));
  } catch (error) {
    byId("here").disabled = byId("elsewhere").disabled = false;
    byId("told").textContent = "The camera could not be used here. Use another camera with the second button.";
  }
  byId("stage").hidden = true;
}

function offer(file) {
  byId("save").href = URL.createObjectURL(file);
  byId("save").download = file.name;
  byId("save").hidden = false;
  byId("told").textContent = "Recorded. If it was not saved by itself, save it with the link below.";
  byId("save").click();
}

async function recordElsewhere() {
  byId("here").disabled = byId("elsewhere").disabled = true;
  byId("told").textContent = "Start your camera now and hold it close to this screen. It begins in 8 seconds.";
  await pause(8);
  byId("told").textContent = "";
  await lead();
  byId("told").textContent = "Stop your camera now, and bring its video to this machine.";
  byId("here").disabled = byId("elsewhere").disabled = false;
}

function countDown() {
  const left = Math.round((Date.parse(facts.expires) - Date.now()) / 1000);
  byId("left").textContent = left > 0
    ? `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} left`
    : "The time is over; ask for a new challenge.";
}

byId("here").hidden = !(navigator.mediaDevices && recordingType());
byId("here").onclick = recordHere;
byId("elsewhere").onclick = recordElsewhere;
setInterval(countDown, 500);
countDown();
