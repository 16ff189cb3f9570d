#include "client/expert_layers.h"

#include <gtest/gtest.h>

namespace peerage::client {
namespace {

constexpr auto kMixtureFfn = v1::EXPERT_LAYER_KIND_MIXTURE_FFN;

// A server whose layers 0 to 2 have mixtures of both kinds, and layer 7 a PEER.
v1::ListModelsResponse Models() {
  v1::ListModelsResponse response;
  v1::Model& model = *response.add_models();
  model.set_name("bam");
  const auto add = [&model](uint32_t layer, v1::ExpertLayerKind kind) {
    v1::ExpertLayer& experts = *model.add_expert_layers();
    experts.set_layer(layer);
    experts.set_kind(kind);
  };
  for (uint32_t layer = 0; layer < 3; ++layer) {
    add(layer, v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION);
    add(layer, kMixtureFfn);
  }
  add(7, v1::EXPERT_LAYER_KIND_PEER);
  return response;
}

TEST(FindExpertKindTest, TakesTheOnlyKindOfALayerOrTheOneThatIsNamed) {
  const v1::ListModelsResponse models = Models();
  EXPECT_EQ(*FindExpertKind(models, {.layer = 7}), v1::EXPERT_LAYER_KIND_PEER);
  EXPECT_EQ(*FindExpertKind(models, {.model = "bam", .layer = 1, .kind = kMixtureFfn}),
            kMixtureFfn);
}

TEST(FindExpertKindTest, SaysWhatALayerHas) {
  const v1::ListModelsResponse models = Models();
  const struct {
    ExpertLayerChoice choice;
    absl::Status error;
  } cases[] = {
      {{.layer = 1},
       absl::InvalidArgumentError(
           "layer 1 has mixture_attention and mixture_ffn: choose with --kind")},
      {{.layer = 1, .kind = v1::EXPERT_LAYER_KIND_PEER},
       absl::NotFoundError("layer 1 has no experts of kind peer; it has mixture_attention and "
                           "mixture_ffn")},
      {{.layer = 5}, absl::NotFoundError("layer 5 has no experts; those that have: 0-2, 7")},
      {{.model = "x"}, absl::NotFoundError("the server has no model \"x\"")},
  };
  for (const auto& [choice, error] : cases) {
    EXPECT_EQ(FindExpertKind(models, choice).status(), error);
  }
}

TEST(ExpertKindTest, IsReadAsItIsPrinted) {
  for (int value = 1; value <= v1::ExpertLayerKind_MAX; ++value) {
    const auto kind = static_cast<v1::ExpertLayerKind>(value);
    EXPECT_EQ(ParseExpertKind(ExpertKindName(kind)), kind);
  }
  EXPECT_EQ(ParseExpertKind("MIXTURE_FFN"), v1::EXPERT_LAYER_KIND_UNSPECIFIED);
}

}  // namespace
}  // namespace peerage::client
