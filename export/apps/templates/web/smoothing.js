// Steady labels of a camera: the exponential average of the Python runtime's stream, with its hysteresis; no DOM.

export const FRAMES = 8; // that the average spans
export const MARGIN = 0.2; // of shares, by which another class has to lead before it is shown

export class Smoothing {
  constructor(frames = FRAMES, margin = MARGIN) {
    Object.assign(this, { frames, margin, mean: null, shown: -1 });
    this.weight = 2 / (frames + 1);
  }

  /** Frames until a change that every frame is sure of is shown. */
  get delay() {
    const kept = 1 - this.weight;
    return kept === 0 ? 1 : Math.floor(Math.log((1 - this.margin) / 2) / Math.log(kept) + 1e-9) + 1;
  }

  /**
   * @param {number[]} row of a frame: a share for each class, and a last one for "none of these"
   * @returns {number[]} the joint shares; sets shown, a place in the row
   */
  push(row) {
    this.mean ??= row;
    this.mean = this.mean.map((value, at) => value + this.weight * (row[at] - value));
    const best = this.mean.indexOf(Math.max(...this.mean));
    if (this.shown < 0 || this.mean[best] > this.mean[this.shown] + this.margin) this.shown = best;
    return this.mean;
  }

  /** The answer of classifier.predict, joined with those of the frames before. */
  steady(result, labels) {
    const row = new Array(labels.length + 1).fill(0);
    if (result.known) for (const { index, probability } of result.guesses) row[index] = probability;
    else row[labels.length] = 1;
    const shares = this.push(row);
    const guesses = labels.map((label, index) => ({ label, index, probability: shares[index] }));
    // What is shown comes first, though another class may lead by less than the margin.
    guesses.sort((a, b) => (b.index === this.shown) - (a.index === this.shown) || b.probability - a.probability || a.index - b.index);
    return { ...result, guesses, known: this.shown < labels.length };
  }
}
