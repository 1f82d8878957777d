// The model in TensorFlow Lite Micro, in memory that is reserved when the program is linked.
#ifndef CLIP2EDGE_CLASSIFIER_H_
#define CLIP2EDGE_CLASSIFIER_H_

#include "pixels.h"

namespace clip2edge {

// False: the arena is too small, or the model is of another schema. Call it once.
bool Setup();

// The answer for kSize x kSize pixels, row by row, three bytes each; index -1 if the model fails.
Guess Classify(const uint8_t* rgb);

// The logits of the last call, kClasses of them.
const float* Logits();

}  // namespace clip2edge

#endif  // CLIP2EDGE_CLASSIFIER_H_
