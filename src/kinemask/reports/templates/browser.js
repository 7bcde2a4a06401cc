// A pose file -> keypoints (1, M, T, V, C) -> the exported model -> label, probabilities, and a moving skeleton.
const model = JSON.parse(document.getElementById("model").textContent);
const element = (id) => document.getElementById(id);
const say = (text) => (element("said").textContent = text);
const { joints: V, dims: C } = model.scene;
const SHOWN = 5;

// pose files: each reader gives { people, frames, values (M·T·V·C, NaN where missing) }

function readNpy(buffer) {
  const bytes = new Uint8Array(buffer), view = new DataView(buffer);
  const long = bytes[6] > 1, start = (long ? 12 : 10) + (long ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder("latin1").decode(bytes.subarray(long ? 12 : 10, start));
  const kind = /'descr': '<f([48])'/.exec(header), shape = /'shape': \(([^)]*)\)/.exec(header);
  if (!kind || !shape || /'fortran_order': True/.test(header)) throw new Error("save the array as float32 or float64, in C order");
  const read = kind[1] === "4" ? (i) => view.getFloat32(start + 4 * i, true) : (i) => view.getFloat64(start + 8 * i, true);
  const sizes = shape[1].split(",").filter((n) => n.trim()).map(Number);
  return shaped(sizes, Float32Array.from({ length: sizes.reduce((a, b) => a * b, 1) }, (_, i) => read(i)));
}

function readJson(text) {
  let content;
  try {
    content = JSON.parse(text);
  } catch (error) {
    try {
      content = text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
    } catch {
      throw new Error(`this is no JSON: ${error.message}`);
    }
  }
  for (const key of ["frames", "keypoints", "skeletons"]) content = content?.[key] ?? content;
  if (!Array.isArray(content) || !content.length) throw new Error("expected a list of frames, or an array of keypoints");
  if (!Array.isArray(content[0])) return readLandmarks(content);
  const sizes = [];
  for (let part = content; Array.isArray(part); part = part[0]) sizes.push(part.length);
  const flat = content.flat(sizes.length - 1);
  if (flat.some((value) => value !== null && typeof value !== "number")) throw new Error("the array is ragged, or not of numbers");
  return shaped(sizes, Float32Array.from(flat, (value) => value ?? NaN));
}

// MediaPipe's world landmarks, y down and z away from the camera: people in the order in which frames have them
function readLandmarks(frames) {
  if (model.layout !== "mediapipe33") throw new Error(`expected an array of keypoints of layout ${model.layout}`);
  const crowds = frames.map((frame) => {
    const found = frame?.pose_world_landmarks ?? frame?.poseWorldLandmarks ?? frame?.worldLandmarks ?? [];
    return Array.isArray(found[0]) || !found.length ? found : [found];
  });
  const people = Math.max(...crowds.map((crowd) => crowd.length));
  if (!people) throw new Error("no frame has pose_world_landmarks");
  const values = new Float32Array(people * frames.length * V * C).fill(NaN);
  crowds.forEach((crowd, t) => {
    crowd.forEach((landmarks, m) => {
      if (landmarks.length !== V) throw new Error(`frame ${t} has ${landmarks.length} landmarks; expected ${V}`);
      landmarks.forEach((p, v) => values.set([p.x, -p.y, -p.z], ((m * frames.length + t) * V + v) * C));
    });
  });
  return { people, frames: frames.length, values };
}

function shaped(sizes, values) {
  const full = sizes.length === 3 ? [1, ...sizes] : sizes;
  if (full.length !== 4 || full[2] !== V || full[3] !== C || full.includes(0) || values.length !== full.reduce((a, b) => a * b)) {
    throw new Error(`the array has shape (${sizes.join(", ")}); layout ${model.layout} has ${V} joints in ${C}D: (T, ${V}, ${C}) or (M, T, ${V}, ${C})`);
  }
  return { people: full[0], frames: full[1], values };
}

// results

function showLabel(probabilities) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  element("label").textContent = model.classes[order[0]];
  element("bars").replaceChildren(
    ...order.slice(0, SHOWN).flatMap((i) => {
      const [name, bar, value] = ["span", "div", "span"].map((tag) => document.createElement(tag));
      name.className = "name";
      name.textContent = model.classes[i];
      bar.className = "bar";
      bar.append(document.createElement("i"));
      bar.firstChild.style.width = `${100 * probabilities[i]}%`;
      value.textContent = `${(100 * probabilities[i]).toFixed(1)} %`;
      return [name, bar, value];
    }),
  );
}

function showSkeleton({ people, frames, values }) {
  const size = frames * V * C;
  const bodies = Array.from({ length: people }, (_, m) => {
    const x = values.slice(m * size, (m + 1) * size);
    const seen = Array.from({ length: frames * V }, (_, i) => (x.subarray(i * C, (i + 1) * C).every(Number.isFinite) ? "1" : "0"));
    return { x, seen: seen.join("") };
  });
  const figure = element("figure").content.querySelector(".player").cloneNode(true);
  element("skeleton").replaceChildren(figure);
  element("result").hidden = false;
  window.kinemask.start(figure, { ...model.scene, clips: [{ T: frames, rate: model.rate, bodies }] });
}

let running = Promise.resolve();
function recognise(name, read) {
  running = running.then(async () => {
    try {
      const clip = await read();
      const session = await loaded;
      const start = performance.now();
      const keypoints = new runtime.Tensor("float32", clip.values, [1, clip.people, clip.frames, V, C]);
      const { probabilities } = await session.run({ keypoints });
      const spent = Math.round(performance.now() - start);
      showLabel(probabilities.data);
      showSkeleton(clip);
      say(`${name}: ${clip.frames} frames, ${clip.people === 1 ? "1 person" : `${clip.people} people`}; recognised in ${spent} ms.`);
    } catch (error) {
      say(`${name}: ${error.message}.`);
    }
  });
}

const readFile = async (file) => (/\.npy$/i.test(file.name) ? readNpy(await file.arrayBuffer()) : readJson(await file.text()));

let runtime;
const loaded = (async () => {
  try {
    runtime = await import("./ort/ort.wasm.min.mjs");
  } catch {
    throw new Error("onnxruntime-web is not there: its folder dist belongs beside this page, called ort, and a server in front of both");
  }
  runtime.env.wasm.numThreads = 1;
  const bytes = Uint8Array.from(atob(model.onnx), (c) => c.charCodeAt(0));
  return runtime.InferenceSession.create(bytes);
})();
loaded.then(() => say("Ready."), (error) => say(`${error.message}.`));

document.querySelector("input[type=file]").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  if (file) recognise(file.name, () => readFile(file));
  target.value = "";
});
document.addEventListener("paste", ({ clipboardData }) => {
  const [file] = clipboardData.files, text = clipboardData.getData("text");
  if (file) recognise(file.name, () => readFile(file));
  else if (text) recognise("what was pasted", () => readJson(text));
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    element("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
  });
}
document.addEventListener("drop", ({ dataTransfer }) => {
  const [file] = dataTransfer.files;
  if (file) recognise(file.name, () => readFile(file));
});
const linked = new URLSearchParams(location.search).get("clip"); // a file beside the page
if (linked) {
  recognise(linked, async () => {
    const found = await fetch(linked);
    if (!found.ok) throw new Error(`it is not beside this page (${found.status})`);
    return readFile(new File([await found.blob()], linked));
  });
}
