#pragma once

#include <variant>

#include "model/kernels/mixture_cuda.h"
#include "model/kernels/row_parts_cuda.h"

namespace peerage::nn::cuda {

struct StepContext;

// What a layer adds to the residual stream, where it has left it.
using Parts = std::variant<kernels::cuda::RowParts, kernels::cuda::MixtureParts>;

// The residual stream of a step, to which its layers add. What a layer leaves in parts waits for
// the norm that reads the stream next, which adds it up on its way: a launch less, and the stream
// is read once. Whoever else reads the stream, or wants to write where the parts lie, has them
// added first. The bits are the same.
class ResidualStream {
 public:
  ResidualStream(float* rows, int width) : rows_(rows), width_(width) {}

  // To all rows.
  void Add(StepContext& step, const Parts& parts);

  // [tokens][width], with everything added.
  float* Rows(StepContext& step);

  // The same for a caller that adds what waits by itself.
  struct Sum {
    float* rows = nullptr;
    Parts added;
  };
  Sum Take();

  // `buffer` will be written to: nothing waits there any more.
  void MakeWay(StepContext& step, const void* buffer);

 private:
  float* rows_;
  int width_;
  Parts waiting_;  // of nothing, or what was added last
};

}  // namespace peerage::nn::cuda
