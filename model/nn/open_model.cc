#include "model/nn/open_model.h"

#include <limits>
#include <utility>

#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/nn/load_model.h"

namespace peerage::nn {

absl::StatusOr<OpenedModel> OpenModel(const std::string& path, LoadOptions options) {
  OpenedModel model;
  ASSIGN_OR_RETURN(model.checkpoint, OpenCheckpoint(path));
  ASSIGN_OR_RETURN(model.tokenizer, At(path, Tokenizer::Load(model.checkpoint->tokenizer())));
  options.kv_cache_bytes = std::numeric_limits<int64_t>::max();
  RETURN_IF_ERROR(At(path, CheckLoadable(*model.checkpoint, options)));
  return model;
}

}  // namespace peerage::nn
