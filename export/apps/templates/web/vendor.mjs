// Copies onnxruntime-web from node_modules into ort/, so that the page loads from one server.   npm run ort [-- webgpu]
import { cpSync, mkdirSync } from 'node:fs';

const FILES = {
  wasm: ['ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm'],
  webgpu: ['ort.webgpu.min.mjs', 'ort-wasm-simd-threaded.asyncify.mjs', 'ort-wasm-simd-threaded.asyncify.wasm'],
};
const wanted = process.argv[2] ?? 'wasm';
if (!Object.hasOwn(FILES, wanted)) throw new Error(`${wanted}: expected ${Object.keys(FILES).join(' or ')}`);
mkdirSync('ort', { recursive: true });
for (const file of FILES[wanted]) cpSync(`node_modules/onnxruntime-web/dist/${file}`, `ort/${file}`);
