#pragma once

#include "base/choice.h"
#include "model/transform/upcycle/upcycle_options.h"

namespace peerage::transform {

inline constexpr Choice<UpcycledAttention> kUpcycledAttentions[] = {
    {"expert", UpcycledAttention::kExpert},
    {"shared", UpcycledAttention::kShared},
    {"average", UpcycledAttention::kAverage},
    {"base", UpcycledAttention::kBase}};

inline constexpr Choice<RouterInit> kRouterInits[] = {{"zero", RouterInit::kZero},
                                                      {"random", RouterInit::kRandom},
                                                      {"prompts", RouterInit::kPrompts}};

inline constexpr Choice<TensorType> kUpcycledDtypes[] = {
    {"f32", TensorType::kF32}, {"bf16", TensorType::kBF16}, {"f16", TensorType::kF16}};

}  // namespace peerage::transform
