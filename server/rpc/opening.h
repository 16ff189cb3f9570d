#pragma once

#include "peerage/v1/inference.pb.h"
#include "server/engine/request.h"
#include "server/rpc/served_model.h"

namespace peerage {

// What an answer says before anything is computed: request id, model, resolved sampling, prompt
// tokens, an empty candidate or score for each that was asked for, and, when a trace was asked
// for, one of no layers (a dense model has no experts).
v1::GenerateResponse OpenGenerate(const GenerateRequest& request, const ServedModel& model,
                                  v1::ExpertTraceLevel trace);
v1::Started OpenGenerateStream(const GenerateRequest& request, const ServedModel& model);
v1::ScoreResponse OpenScore(const ScoreRequest& request, const ServedModel& model,
                            v1::ExpertTraceLevel trace);

bool WantsTrace(v1::ExpertTraceLevel level);

}  // namespace peerage
