#pragma once

#include "peerage/v1/inference.pb.h"
#include "server/engine/request.h"
#include "server/rpc/served_model.h"

namespace peerage {

// What an answer says before anything is computed: request id, model, resolved sampling, prompt
// tokens, and an empty candidate or score for each that was asked for.
v1::GenerateResponse OpenGenerate(const GenerateRequest& request, const ServedModel& model);
v1::Started OpenGenerateStream(const GenerateRequest& request, const ServedModel& model);
v1::ScoreResponse OpenScore(const ScoreRequest& request, const ServedModel& model);

}  // namespace peerage
