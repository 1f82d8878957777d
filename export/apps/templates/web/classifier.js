// Loads the model and classifies images. Everything comes from this folder; nothing is sent anywhere.

import { finite, geometry, normalize, softmax } from './preprocess.js';
import { isKnown } from './rejection.js';

// Provider -> its file of onnxruntime-web, in ort/.
const ENGINES = { wasm: 'ort.wasm.min.mjs', webgpu: 'ort.webgpu.min.mjs' };

export class Classifier {
  /**
   * @param {string} [provider] "wasm" or "webgpu"
   * @returns {Promise<Classifier>}
   */
  static async load(provider = 'wasm') {
    if (!Object.hasOwn(ENGINES, provider)) throw new Error(`provider ${provider}, expected ${Object.keys(ENGINES).join(' or ')}`);
    const started = performance.now();
    const [ort, config] = await Promise.all([engine(provider), fetchFile('app.json').then((answer) => answer.json())]);
    // Threads need SharedArrayBuffer, which a browser gives only to pages served with COOP and COEP headers.
    ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
    const model = new Uint8Array(await (await fetchFile(config.model)).arrayBuffer());
    if (!(await hasHash(model, config.sha256))) throw new Error(`${config.model} is damaged or another model: copy the whole folder again`);
    const session = await ort.InferenceSession.create(model, { executionProviders: [provider] });
    const file = config.rejection?.prototypes;
    const prototypes = file ? new Float32Array(await (await fetchFile(file)).arrayBuffer()) : null;
    return new Classifier(ort, session, config, provider, performance.now() - started, prototypes);
  }

  constructor(ort, session, config, provider, loadMs, prototypes = null) {
    Object.assign(this, { ort, session, config, provider, loadMs, prototypes });
    this.canvas = document.createElement('canvas');
    // In main memory: a canvas on the GPU may come back with other colors.
    this.context = this.canvas.getContext('2d', { willReadFrequently: true });
  }

  /**
   * @param {Blob} blob an encoded image
   * @returns {Promise<ImageData>} upright, opaque (transparency on white), color profile ignored
   */
  async decode(blob) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
    } catch {
      throw new Error(`${blob.name ?? 'this file'} is not an image that this browser can read`);
    }
    try {
      return this.grab(bitmap, bitmap.width, bitmap.height);
    } finally {
      bitmap.close();
    }
  }

  /** The pixels of a bitmap or of a video's current frame, as ImageData. */
  grab(source, width, height) {
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.context.fillStyle = '#fff';
    this.context.fillRect(0, 0, width, height);
    this.context.drawImage(source, 0, 0);
    return this.context.getImageData(0, 0, width, height);
  }

  /** Logits (K) of cropped pixels, Uint8Array size x size x 3; throws if one is NaN or infinite: no class is the answer then. */
  async logits(pixels) {
    return (await this.run(pixels, ['logits'])).logits;
  }

  /** Outputs of cropped pixels by name: the order in the file means nothing. */
  async run(pixels, names) {
    const { size } = this.config.preprocess;
    const tensor = new this.ort.Tensor('float32', normalize(pixels, this.config.preprocess), [1, 3, size, size]);
    const results = await this.session.run({ [this.session.inputNames[0]]: tensor }, names);
    return Object.fromEntries(names.map((name) => [name, finite(results[name].data)]));
  }

  /**
   * @param {ImageData} image
   * @returns {Promise<{guesses: {label: string, index: number, probability: number}[], known: boolean, prepareMs: number, modelMs: number}>}
   *   all classes, likeliest first; known is false for an image that shows none of them
   */
  async predict(image) {
    const start = performance.now();
    const pixels = geometry(image, this.config.preprocess);
    const prepared = performance.now();
    const { rejection, temperature = 1 } = this.config;
    const outputs = await this.run(pixels, rejection?.features ? ['logits', 'features'] : ['logits']);
    const done = performance.now();
    const known = isKnown(rejection, outputs, this.prototypes);
    const guesses = softmax(Array.from(outputs.logits, (value) => value / temperature)).map((probability, index) => ({ label: this.config.labels[index], index, probability }));
    guesses.sort((a, b) => b.probability - a.probability || a.index - b.index);
    return { guesses, known, prepareMs: prepared - start, modelMs: done - prepared };
  }
}

/** A file of the app's folder. */
export async function fetchFile(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`${name} could not be loaded (${answer.status}): is the whole folder on the server?`);
  return answer;
}

/** Whether bytes have this hex SHA-256; true where the browser offers no hashes (plain http, not localhost). */
async function hasHash(bytes, want) {
  if (!self.crypto?.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('') === want;
}

async function engine(provider) {
  try {
    return await import(new URL(`ort/${ENGINES[provider]}`, import.meta.url));
  } catch (error) {
    throw new Error(`ort/${ENGINES[provider]} could not be loaded: npm install && npm run ${provider === 'wasm' ? 'ort' : `ort -- ${provider}`} (${error.message})`);
  }
}
