#pragma once

#include "base/choice.h"
#include "model/config/model_config.h"

namespace peerage {

inline constexpr Choice<Activation> kActivations[] = {{"silu", Activation::kSilu},
                                                      {"gelu", Activation::kGelu},
                                                      {"gelu_tanh", Activation::kGeluTanh},
                                                      {"relu", Activation::kRelu}};

inline constexpr Choice<NormType> kNormTypes[] = {{"rmsnorm", NormType::kRmsNorm},
                                                  {"layernorm", NormType::kLayerNorm}};

// What the fields of a `peer` or `pkm` entry may be called (docs/model_format.md).
inline constexpr Choice<ProductKeys> kProductKeys[] = {{"shared", ProductKeys::kShared},
                                                       {"per_head", ProductKeys::kPerHead},
                                                       {"direct", ProductKeys::kDirect}};
inline constexpr Choice<bool> kPerHeadExperts[] = {{"shared", false}, {"per_head", true}};
inline constexpr Choice<QueryNorm> kQueryNorms[] = {
    {"none", QueryNorm::kNone}, {"batch", QueryNorm::kBatch}, {"layer", QueryNorm::kLayer}};
inline constexpr Choice<RouterScore> kRouterScores[] = {
    {"softmax", RouterScore::kSoftmax},
    {"sigmoid", RouterScore::kSigmoid},
    {"relu", RouterScore::kRelu},
    {"joint_softmax", RouterScore::kJointSoftmax}};
inline constexpr Choice<PeerLayout> kPeerLayouts[] = {{"peerage", PeerLayout::kPeerage},
                                                      {"lucidrains", PeerLayout::kLucidrains},
                                                      {"meta_memory", PeerLayout::kMetaMemory},
                                                      {"ostix360", PeerLayout::kOstix360},
                                                      {"doge", PeerLayout::kDoge},
                                                      {"omnimoe", PeerLayout::kOmniMoe}};

}  // namespace peerage
