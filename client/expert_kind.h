#pragma once

#include <string>

#include "peerage/v1/experts.pb.h"

namespace peerage::client {

// "peer", "pkm", "mixture_ffn" or "mixture_attention": in tables, and what --kind takes.
std::string ExpertKindName(v1::ExpertLayerKind kind);

// The kind of that name, EXPERT_LAYER_KIND_UNSPECIFIED for any other.
v1::ExpertLayerKind ParseExpertKind(const std::string& name);

// Whether the experts are few, and each a whole part of the model that may have a name.
bool IsMixture(v1::ExpertLayerKind kind);

}  // namespace peerage::client
