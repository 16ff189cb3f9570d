#pragma once

#include <memory>

#include "server/engine/request.h"
#include "server/engine/response_sink.h"
#include "server/rpc/backend.h"

namespace peerage {

// What requests hold, in the log: the only place that puts it there, and used only with
// --log-content. Writes the text of what the model is to read, cut, and returns a sink that passes
// everything on to `sink` and writes what was generated once the request ends, however it does.
std::shared_ptr<ResponseSink> LogContent(const GenerateRequest& request, const Backend& backend,
                                         std::shared_ptr<ResponseSink> sink);
std::shared_ptr<ResponseSink> LogContent(const ScoreRequest& request, const Backend& backend,
                                         std::shared_ptr<ResponseSink> sink);

}  // namespace peerage
