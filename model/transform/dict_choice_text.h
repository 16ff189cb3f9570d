#pragma once

#include <string>

#include "model/checkpoint/container/pytorch.h"

namespace peerage::transform {

// Lines for people: which dict of a PyTorch file was taken, which others there are, and what of it
// was left out. Empty when there was nothing to choose and nothing is left out.
std::string DictChoiceText(const TensorDictChoice& choice);

}  // namespace peerage::transform
