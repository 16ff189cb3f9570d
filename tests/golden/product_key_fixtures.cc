#include "tests/golden/product_key_fixtures.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "tests/golden/hashed_weights.h"
#include "tests/support/safetensors_builder.h"

namespace peerage {
namespace {

using nlohmann::json;

constexpr char kFixtures[] = "tests/golden/product_keys";
constexpr char kTokenizer[] = "tests/golden/models/peerage_sequential/tokenizer.json";

}  // namespace

std::vector<std::string> ProductKeyFixtureNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFixtures)) {
    names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

json ProductKeyFixture(const std::string& name) {
  std::ifstream file(std::string(kFixtures) + "/" + name + ".json");
  return json::parse(file);
}

void WriteProductKeyModel(const std::string& name, const json& fixture,
                          const TemporaryDirectory& folder) {
  const std::string dtype = fixture["dtype"];
  SafetensorsBuilder weights;
  for (const json& tensor : fixture["tensors"]) {
    const std::vector<int64_t> shape = tensor[1];
    size_t count = 1;
    for (const int64_t dimension : shape) count *= static_cast<size_t>(dimension);
    std::optional<int> exponent;
    if (!tensor[2].is_null()) exponent = tensor[2].get<int>();
    const std::string tensor_name = tensor[0];
    weights.Add(tensor_name, dtype, shape,
                HashedTensor(name + "/" + tensor_name, count, exponent, dtype));
  }
  folder.Write("model.safetensors", weights.Build());
  folder.Write("config.json", fixture["config"].dump());
  std::filesystem::copy_file(kTokenizer, folder.PathOf("tokenizer.json"));
}

}  // namespace peerage
