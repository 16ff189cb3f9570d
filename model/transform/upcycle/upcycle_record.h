#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "model/transform/upcycle/source_models.h"
#include "model/transform/upcycle/upcycle.h"

namespace peerage::transform {

// upcycle.json: the program, the models with their fingerprints, and every option that the result
// depends on.
nlohmann::ordered_json UpcycleRecordJson(const std::vector<SourceModel>& models,
                                         const UpcycleOptions& options);

}  // namespace peerage::transform
