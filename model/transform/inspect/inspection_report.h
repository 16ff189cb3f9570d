#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "model/transform/inspect/inspection.h"

namespace peerage::transform {

// For people: a few lines of sizes, what is computed, the tokenizer, every default that was taken,
// then parts, then layers. Neighbours are taken together when
// their configs are equal; what differs shows in the lines of their attention and FFN parts.
std::string InspectionText(const Inspection& inspection);

// For programs: one object with what is computed (by the names of config.json), stored_dtypes,
// tokenizer (tokenizer_report.h), defaults (by the names that the model's own file would have for
// them), layers (attention, ffn: the fields of config.json, its defaults
// filled in), total_parameters, active_parameters, parameters_by_part, bytes_by_part (null of a
// bare config), kv_bytes_per_token, context and flops_per_token (by layer).
nlohmann::ordered_json InspectionJson(const Inspection& inspection);

}  // namespace peerage::transform
