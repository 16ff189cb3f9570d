#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <numeric>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/language_model.h"
#include "model/nn/forward_pass.h"
#include "model/nn/load_options.h"
#include "model/nn/plan/model_plan.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/model_checks.h"
#include "tests/support/odd_models.h"

namespace peerage {

struct DeviceUnderTest {
  std::string name;  // letters and digits
  std::function<absl::StatusOr<std::unique_ptr<nn::ForwardPass>>(
      const nn::ModelPlan&, const Checkpoint&, const nn::LoadOptions&)>
      load;
  // What the device says beforehand that it will take; empty where it says nothing.
  std::function<absl::StatusOr<nn::MemoryNeeds>(const nn::ModelPlan&, const Checkpoint&,
                                                const nn::LoadOptions&)>
      plan_memory;
  double tolerance = 0;               // of log-probabilities, of f32 weights, against double
  bool batch_invariant = false;       // whether equal sequences give equal bits
  std::vector<int> threads = {1, 3};  // numbers of them to try; a device may have none of its own
};

inline void PrintTo(const DeviceUnderTest& device, std::ostream* out) { *out << device.name; }
inline std::string DeviceName(const testing::TestParamInfo<DeviceUnderTest>& info) {
  return info.param.name;
}

class ForwardPassSuite : public testing::TestWithParam<DeviceUnderTest> {
 protected:
  static constexpr int kSlots = 8;

  static nn::LoadOptions WithRoom(nn::LoadOptions options);
  static absl::StatusOr<std::unique_ptr<nn::ForwardPass>> LoadPass(const Checkpoint& checkpoint,
                                                                   nn::LoadOptions options);
  // The device's forward pass in the model that all devices share.
  static std::unique_ptr<LanguageModel> LoadModel(const Checkpoint& checkpoint,
                                                  nn::LoadOptions options = {});

  // Every layer that a HiddenRow may name.
  static std::vector<int32_t> AllHiddenLayers(const MemoryCheckpoint& checkpoint) {
    std::vector<int32_t> layers(checkpoint.config().layers.size() + 2);
    std::iota(layers.begin(), layers.end(), 0);
    return layers;
  }

  // 0 where equal bits are promised.
  static Tolerance Invariance() {
    return GetParam().batch_invariant ? 0 : 2 * GetParam().tolerance;
  }

  // Calls check(checkpoint) for every model, with its name and seed on failures.
  template <typename Check>
  static void ForEachModel(const Check& check,
                           const std::vector<NamedModel>& models = OddModels()) {
    uint32_t seed = 100;
    for (const auto& [name, config] : models) {
      SCOPED_TRACE(testing::Message() << name << ", seed " << seed);
      const MemoryCheckpoint checkpoint(config, seed);
      check(checkpoint);
      seed += 100;
    }
  }
};

}  // namespace peerage
