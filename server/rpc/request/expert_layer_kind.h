#pragma once

#include "model/experts/expert_usage.h"
#include "peerage/v1/experts.pb.h"

namespace peerage {

// The name that requests and answers have for it.
v1::ExpertLayerKind ToProto(ExpertLayerKind kind);

}  // namespace peerage
