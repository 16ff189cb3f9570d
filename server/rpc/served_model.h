#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/language_model.h"
#include "model/tokenizer/tokenizer.h"
#include "peerage/v1/inference.pb.h"

namespace peerage {

// The model as clients know it. Threads: immutable.
struct ServedModel {
  std::string name;
  ModelDescription description;
  const Tokenizer* tokenizer = nullptr;

  // Resolves a request's `model`: empty means this one, any other name is NOT_FOUND.
  absl::Status CheckName(absl::string_view requested) const;

  v1::ModelRef ref() const;
};

}  // namespace peerage
