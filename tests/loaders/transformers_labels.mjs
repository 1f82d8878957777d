// Labels a bundle's images as a user of transformers.js does: node transformers_labels.mjs NODE_MODULES BUNDLE DTYPE IMAGE...
// Prints one JSON object: the version, and per image its label, its score and the pixels the model was fed (base64 of
// float32, little-endian). There is no network. DTYPE "default" is what the library chooses by itself.
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, bundle, dtype, ...images] = process.argv.slice(2);
const home = path.join(path.resolve(modules), '@huggingface', 'transformers');
const about = JSON.parse(fs.readFileSync(path.join(home, 'package.json'), 'utf8'));
const entry = path.join(home, about.exports.node.import.default);
const { env, pipeline, RawImage } = await import(pathToFileURL(entry));
env.allowRemoteModels = false;
env.localModelPath = '/';

const classify = await pipeline('image-classification', path.resolve(bundle), dtype === 'default' ? {} : { dtype });
const rows = {};
for (const image of images) {
    const [first] = await classify(image, { top_k: 1 });
    const { pixel_values } = await classify.processor(await RawImage.read(image));
    const bytes = Buffer.from(Float32Array.from(pixel_values.data).buffer);
    rows[image] = { label: first.label, score: first.score, pixels: bytes.toString('base64') };
}
fs.writeSync(1, JSON.stringify({ version: about.version, images: rows }));
