// Compares pixels and logits of the bundle's golden images in this browser, and classifies a list of images.

import { Classifier, fetchFile } from './classifier.js';
import { geometry } from './preprocess.js';

/**
 * @param {Classifier} classifier
 * @returns {Promise<{step: string, state: string, detail: string}[]>} state is "ok" or "differs"
 */
export async function checkGolden(classifier) {
  const steps = [];
  const { golden, tolerance, preprocess } = classifier.config;
  for (const [index, file] of golden.entries()) {
    const image = await classifier.decode(await (await fetchFile(`golden/${file}`)).blob());
    const pixels = geometry(image, preprocess);
    const wantPixels = new Uint8Array(await (await fetchFile(`golden/${index}.rgb`)).arrayBuffer());
    const wrong = pixels.reduce((count, value, at) => count + (value !== wantPixels[at]), 0);
    const same = wrong === 0 && pixels.length === wantPixels.length;
    steps.push({
      step: `pixels ${index}`,
      state: same ? 'ok' : 'differs',
      detail: same ? 'bit-identical' : `${wrong} of ${wantPixels.length} values differ`,
    });
    const buffer = await (await fetchFile(`golden/${index}.f32`)).arrayBuffer();
    steps.push({ step: `logits ${index}`, ...(await compared(classifier, wantPixels, new Float32Array(buffer), tolerance)) });
  }
  return steps;
}

/** Logits of pixels against the golden ones; a model without an answer differs. */
async function compared(classifier, pixels, want, tolerance) {
  try {
    return compare(await classifier.logits(pixels), want, tolerance);
  } catch (error) {
    return { state: 'differs', detail: error.message };
  }
}

/** Compares logits; tolerance is a share of the spread of the golden ones. */
function compare(got, want, tolerance) {
  const spread = Math.max(...want) - Math.min(...want);
  const worst = want.reduce((most, value, at) => Math.max(most, Math.abs(value - got[at])), 0) / Math.max(spread, 1e-6);
  const close = got.length === want.length && worst <= tolerance; // NaN is not close
  return { state: close ? 'ok' : 'differs', detail: `largest difference ${worst.toExponential(1)} of the spread, tolerance ${tolerance}` };
}

/**
 * @param {Classifier} classifier
 * @param {string} list address of a JSON list of image addresses, on this server
 * @returns {Promise<({image: string, index: number, label: string, probability: number, known: boolean} | {image: string, error: string})[]>}
 *   the likeliest class of each, or why it has none
 */
export async function classifyList(classifier, list) {
  const answers = [];
  const base = new URL(list, import.meta.url);
  for (const image of await (await fetchFile(base)).json()) {
    try {
      const blob = await (await fetchFile(new URL(image, base))).blob();
      const { guesses, known } = await classifier.predict(await classifier.decode(blob));
      answers.push({ image, ...guesses[0], known });
    } catch (error) { // one bad image does not end the list
      answers.push({ image, error: error.message });
    }
  }
  return answers;
}

async function show() {
  const query = new URLSearchParams(location.search);
  const result = document.querySelector('#result');
  try {
    const classifier = await Classifier.load(query.get('provider') ?? 'wasm');
    const rows = document.querySelector('#steps');
    const steps = await checkGolden(classifier);
    for (const { step, state, detail } of steps) {
      const row = rows.insertRow();
      row.className = state;
      for (const text of [step, state, detail]) row.insertCell().textContent = text;
    }
    const wrong = steps.find(({ state }) => state !== 'ok');
    result.textContent = wrong ? `This browser differs first at: ${wrong.step}.` : `All ${steps.length} steps agree in this browser.`;
    const list = query.get('images');
    if (list !== null) document.querySelector('#answers').textContent = JSON.stringify(await classifyList(classifier, list), null, 1);
  } catch (error) {
    result.textContent = error.message;
    result.className = 'error';
  }
}

if (document.body.dataset.page === 'check') show();
