#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "model/tokenizer/tokenizer_source.h"

namespace peerage {

// A fixture that tests/golden/make_tokenizer_golden.py wrote; the test fails when it is missing.
std::string ReadGoldenText(const std::string& name);
nlohmann::json ReadGolden(const std::string& name);

// SmolLM2's tokenizer from both kinds of file.
TokenizerSource SmolLm2FromJson();
TokenizerSource SmolLm2FromGguf();

}  // namespace peerage
