#ifndef CLIP2EDGE_MODEL_DATA_H_
#define CLIP2EDGE_MODEL_DATA_H_

namespace clip2edge {

extern const unsigned char kModel[];
extern const unsigned int kModelBytes;

}  // namespace clip2edge

#endif  // CLIP2EDGE_MODEL_DATA_H_
