#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/token.h"

namespace peerage::transform {

using TokenSequence = std::vector<TokenId>;

// Runs sequences of tokens through a dense model, layer after layer, for tools that look at what
// layers read. Of the weights one matrix is in memory at a time. f32, on the caller's thread. A
// weight that is not finite is an error that names its tensor.
//
// Ownership: the checkpoint outlives it.
class DenseForward {
 public:
  // Embeds the tokens. A head_dim that attention does not take is an error. Preconditions: the
  // model is dense (dense_model.h); no sequence is empty, and ids are below the vocabulary's size.
  static absl::StatusOr<DenseForward> Start(const Checkpoint& checkpoint,
                                            std::vector<TokenSequence> sequences);

  // What the parts of a layer read, which is after the norm before them: [tokens][hidden], one
  // sequence after the other. With a parallel block both read the same.
  struct LayerInputs {
    std::vector<float> attention;
    std::vector<float> ffn;
  };

  // Computes the next layer. Precondition: there is one.
  absl::StatusOr<LayerInputs> RunLayer();

  // After the layers that were run, [tokens][hidden].
  const std::vector<float>& residual() const { return residual_; }

 private:
  DenseForward(const Checkpoint& checkpoint, std::vector<TokenSequence> sequences)
      : checkpoint_(checkpoint), sequences_(std::move(sequences)) {}

  absl::Status Embed();
  absl::StatusOr<std::vector<float>> Normalize(const std::string& norm) const;
  absl::StatusOr<std::vector<float>> Attend(const std::vector<float>& input) const;
  absl::StatusOr<std::vector<float>> FeedForward(const std::vector<float>& input) const;
  absl::StatusOr<std::vector<float>> Multiply(const std::string& matrix,
                                              const std::vector<float>& input) const;
  std::string NameInLayer(const std::string& tensor) const;
  void AddToResidual(const std::vector<float>& output);

  const Checkpoint& checkpoint_;
  const std::vector<TokenSequence> sequences_;
  int layer_ = 0;  // the next one
  int tokens_ = 0;
  std::vector<float> residual_;
};

}  // namespace peerage::transform
