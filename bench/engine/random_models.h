#pragma once

#include <string>

#include "model/config/model_config.h"

namespace peerage {

// Whole models of random weights in the shapes of real ones.
struct RandomModel {
  std::string kind;  // "dense"; "peer": some layers of experts; "mixture": all layers. "": none
  int width = 2048;
  int layers = 24;
  int log2_experts = 20;  // of each PEER layer: 8 heads choose 16 each
  int vocabulary = 49152;
};
ModelConfig ConfigOf(const RandomModel& model);

}  // namespace peerage
