// Does an image show one of the classes at all? The scores of the Python runtime, on plain arrays; no DOM.

const PARTS = {
  max_logit: ({ logits }) => Math.max(...logits),
  energy: ({ logits }) => {
    const top = Math.max(...logits);
    return top + Math.log(logits.reduce((sum, value) => sum + Math.exp(value - top), 0));
  },
  prototype: ({ features }, prototypes) => {
    let best = -2; // below any cosine
    for (let row = 0; row < prototypes.length; row += features.length) {
      let cosine = 0;
      for (let i = 0; i < features.length; i++) cosine += features[i] * prototypes[row + i];
      best = Math.max(best, cosine);
    }
    return best;
  },
};

/**
 * @param {{score: string, scales: Object<string, number[]>}} rejection as in app.json
 * @param {{logits: number[], features?: Float32Array}} outputs of the model
 * @param {Float32Array} [prototypes] a row for each class
 * @returns {number} higher for an image that shows one of the classes
 */
export function scoreOf({ score, scales }, outputs, prototypes) {
  if (score !== 'combined') return PARTS[score](outputs, prototypes);
  const parts = Object.entries(scales).map(([part, [mean, spread]]) => (PARTS[part](outputs, prototypes) - mean) / spread);
  return parts.reduce((sum, value) => sum + value, 0) / parts.length;
}

/** Whether an image shows one of the classes; true where the app has no score. */
export function isKnown(rejection, outputs, prototypes) {
  return !rejection || scoreOf(rejection, outputs, prototypes) >= rejection.threshold;
}
