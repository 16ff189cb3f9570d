#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage {

// The tokenizer of these files; the test fails when there is none.
inline std::unique_ptr<Tokenizer> Load(const TokenizerSource& source) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(source);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

}  // namespace peerage
