#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/checkpoint/checkpoint.h"
#include "model/language_model.h"
#include "model/nn/load_options.h"
#include "server/engine/admission_policy.h"

namespace peerage {

// A model of needle trials: a checkpoint, and how its weights are held.
struct NeedleModel {
  std::string name;
  std::shared_ptr<const Checkpoint> checkpoint;
  nn::WeightsDtype weights = nn::WeightsDtype::kF32;
  nn::ExpertDtype experts = nn::ExpertDtype::kF32;
  uint64_t block_bytes = 0;  // of a KV block of kBlockTokens positions
};

// Dense, PEER, product-key memory and mixture models, random and stored ones, each with several
// formats of weights.
const std::vector<NeedleModel>& NeedleModels();

// A model that is stored somewhere.
NeedleModel StoredNeedleModel(const std::string& path);

// How an engine and its model are made.
struct EngineShape {
  int workers = 1;  // the rest is of each
  int threads = 1;
  int max_batch_tokens = 512;
  int max_sequences = 64;
  int kv_blocks = 256;
  bool prefix_cache = false;
  Admission admission = Admission::kReserve;
};

// By worker.
std::vector<std::unique_ptr<LanguageModel>> Load(const NeedleModel& model,
                                                 const EngineShape& shape);

}  // namespace peerage
