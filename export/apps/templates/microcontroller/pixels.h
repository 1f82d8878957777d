// Pixels to the model's integers, and logits to an answer. Needs no library.
#ifndef CLIP2EDGE_PIXELS_H_
#define CLIP2EDGE_PIXELS_H_

#include <cstdint>

namespace clip2edge {

struct Guess {
  int index;
  const char* label;
  float probability;
};

extern const int kSize;          // edge of the image
extern const int kClasses;
extern const char* const kLabels[];

// rgb: kSize x kSize, row by row, three bytes a pixel. input: three planes of kSize x kSize.
void Quantize(const uint8_t* rgb, int8_t* input);

// The likeliest class of kClasses logits, and its probability.
Guess Best(const float* logits);

// A logit of the model's int8 output.
float Logit(int8_t steps);

}  // namespace clip2edge

#endif  // CLIP2EDGE_PIXELS_H_
