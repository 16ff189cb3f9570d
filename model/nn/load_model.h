#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "model/checkpoint/checkpoint.h"
#include "model/language_model.h"
#include "model/nn/load_options.h"

namespace peerage::nn {

// The device that this process would take by itself ("cuda:0", "cpu"), and why; without a reason
// where the build has nothing but the CPU.
struct DeviceChoice {
  std::string device = {};
  std::string reason = {};
  bool passes_over = false;  // a GPU that is there but does not serve, or may be
};
DeviceChoice ChooseDevice();

// Whether this process can compute on the device now; the error's message is the reason.
absl::Status CheckDevice(absl::string_view device);

// Reads nothing but the checkpoint's headers.
absl::StatusOr<MemoryNeeds> PlanMemory(const Checkpoint& checkpoint, const LoadOptions& options);

// Whether the model can be loaded so, as far as is known without its weights. LoadModel asks, too.
absl::Status CheckLoadable(const Checkpoint& checkpoint, const LoadOptions& options);

// Loads a model onto its device, hashing its files at the same time. Errors name file and tensor.
absl::StatusOr<std::unique_ptr<LanguageModel>> LoadModel(const Checkpoint& checkpoint,
                                                         const LoadOptions& options);

// Models of one checkpoint on one device, loaded at any time. Their files are hashed once. On the
// CPU they share weights, which the family keeps; on another device each has its own.
//
// Threads: safe from many; one loads at a time.
class ModelFamily {
 public:
  // The checkpoint must outlive the family, but not its models.
  ModelFamily(const Checkpoint* checkpoint, LoadOptions options)
      : checkpoint_(*checkpoint), options_(std::move(options)) {}

  // As LoadModel; computes with so many threads.
  absl::StatusOr<std::unique_ptr<LanguageModel>> Load(int threads);

 private:
  const Checkpoint& checkpoint_;
  absl::Mutex mu_;
  LoadOptions options_ ABSL_GUARDED_BY(mu_);  // with the weights, once they are there
  std::string fingerprint_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage::nn
