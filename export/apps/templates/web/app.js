// The page: classifies a chosen, dropped or pasted file, or the camera's picture, and shows times.

import { Classifier } from './classifier.js';
import { Smoothing } from './smoothing.js';

const SHOWN = 5; // guesses
const find = (id) => document.getElementById(id);
const [title, status, stage, hint, photo, video] = ['title', 'status', 'stage', 'hint', 'photo', 'video'].map(find);
const [file, camera, answer, label, guesses, times] = ['file', 'camera', 'answer', 'label', 'guesses', 'times'].map(find);

let classifier;
let ready = 'Loading the model …'; // status line without errors
let stream = null;
let asked = 0; // images so far: the result of an older one is dropped

function fail(error) {
  status.textContent = error.message;
  status.className = 'error';
}

function recover() {
  status.textContent = ready;
  status.className = '';
}

function show({ guesses: all, known, prepareMs, modelMs }, extra = '') {
  answer.hidden = false;
  answer.classList.toggle('unsure', !known);
  label.textContent = known ? all[0].label : 'Not sure';
  const rows = all.slice(0, SHOWN).map(({ label: name, probability }) => {
    const row = document.createElement('li');
    const text = document.createElement('span');
    const share = document.createElement('span');
    text.textContent = name; // never innerHTML: labels are data
    share.textContent = `${(100 * probability).toFixed(1)} %`;
    row.style.setProperty('--share', probability);
    row.append(text, share);
    return row;
  });
  guesses.replaceChildren(...rows);
  times.textContent = `prepare ${prepareMs.toFixed(1)} ms · model ${modelMs.toFixed(1)} ms${extra}`;
}

async function classify(blob) {
  const mine = ++asked;
  stopCamera();
  try {
    const image = await classifier.decode(blob);
    if (mine !== asked) return;
    URL.revokeObjectURL(photo.src);
    photo.src = URL.createObjectURL(blob);
    photo.hidden = false;
    hint.hidden = true;
    const result = await classifier.predict(image);
    if (mine !== asked) return;
    show(result, ` · ${image.width} × ${image.height}`);
    recover();
  } catch (error) {
    if (mine === asked) fail(error);
  }
}

function stopCamera() {
  if (stream === null) return;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  video.srcObject = null;
  video.hidden = true;
  hint.hidden = false;
  camera.setAttribute('aria-pressed', 'false');
  camera.textContent = 'Use camera';
}

async function startCamera() {
  asked++;
  if (!navigator.mediaDevices?.getUserMedia) throw new Error('The camera needs https, or http on localhost.');
  stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment', width: { ideal: 640 } } });
  video.srcObject = stream;
  await video.play();
  photo.hidden = hint.hidden = true;
  video.hidden = false;
  camera.setAttribute('aria-pressed', 'true');
  camera.textContent = 'Stop camera';
  recover();
  watch(stream, performance.now(), new Smoothing());
}

/** Classifies frames, one at a time, until another stream is shown. */
async function watch(mine, last, smoothing) {
  if (stream !== mine) return;
  if (video.videoWidth > 0) {
    const result = await classifier.predict(classifier.grab(video, video.videoWidth, video.videoHeight));
    if (stream !== mine) return;
    const now = performance.now();
    const frame = now - last;
    const cost = `steady after ${smoothing.delay} frames, ${(smoothing.delay * frame).toFixed(0)} ms`;
    show(smoothing.steady(result, classifier.config.labels), ` · frame ${frame.toFixed(0)} ms · ${cost}`);
    last = now;
  }
  requestAnimationFrame(() => watch(mine, last, smoothing).catch(fail));
}

file.addEventListener('change', () => {
  if (file.files.length) classify(file.files[0]);
  file.value = ''; // so that the same file can be chosen again
});
camera.addEventListener('click', async () => {
  if (stream !== null) return stopCamera();
  camera.disabled = true;
  await startCamera().catch((error) => {
    stopCamera();
    fail(error);
  });
  camera.disabled = false;
});
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  stage.classList.add('over');
});
document.addEventListener('dragleave', () => stage.classList.remove('over'));
document.addEventListener('drop', (event) => {
  event.preventDefault();
  stage.classList.remove('over');
  const [dropped] = event.dataTransfer.files;
  if (dropped && classifier) classify(dropped);
});
document.addEventListener('paste', (event) => {
  const [pasted] = event.clipboardData.files;
  if (pasted && classifier) classify(pasted);
});

try {
  classifier = await Classifier.load(new URLSearchParams(location.search).get('provider') ?? 'wasm');
  const { config, loadMs, provider } = classifier;
  title.textContent = document.title = config.title;
  ready = `${config.labels.length} classes · ${config.precision} on ${provider} · loaded in ${loadMs.toFixed(0)} ms`;
  recover();
  file.disabled = camera.disabled = false;
} catch (error) {
  fail(error);
}
