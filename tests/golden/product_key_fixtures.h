#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/temporary_directory.h"

namespace peerage {

// Random models over every choice of product-key layers (tests/golden/make_product_key_models.py).
std::vector<std::string> ProductKeyFixtureNames();
nlohmann::json ProductKeyFixture(const std::string& name);

// Writes the model directory that a fixture describes.
void WriteProductKeyModel(const std::string& name, const nlohmann::json& fixture,
                          const TemporaryDirectory& folder);

}  // namespace peerage
