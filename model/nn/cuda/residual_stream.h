#pragma once

#include "model/kernels/row_parts_cuda.h"

namespace peerage::nn::cuda {

struct StepContext;

// The residual stream of a step, to which its layers add. What a layer leaves in parts waits for
// the norm that reads the stream next, which adds it up on its way: a launch less, and the stream
// is read once. Whoever else reads the stream, or wants to write where the parts lie, has them
// added first. The bits are the same.
class ResidualStream {
 public:
  ResidualStream(float* rows, int width) : rows_(rows), width_(width) {}

  // To all rows.
  void Add(StepContext& step, const kernels::cuda::RowParts& parts);

  // [tokens][width], with everything added.
  float* Rows(StepContext& step);

  // The same for a caller that adds what waits by itself.
  struct Sum {
    float* rows = nullptr;
    kernels::cuda::RowParts added;
  };
  Sum Take();

  // `buffer` will be written to: nothing waits there any more.
  void MakeWay(StepContext& step, const void* buffer);

 private:
  float* rows_;
  int width_;
  kernels::cuda::RowParts waiting_;
};

}  // namespace peerage::nn::cuda
