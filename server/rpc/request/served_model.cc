#include "server/rpc/request/served_model.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace peerage {

absl::Status ServedModel::CheckName(absl::string_view requested) const {
  if (requested.empty() || requested == name) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("model \"", absl::CHexEscape(requested.substr(0, 64)), "\" is not served here"));
}

v1::ModelRef ServedModel::ref() const {
  v1::ModelRef ref;
  ref.set_name(name);
  ref.set_fingerprint(description.fingerprint);
  return ref;
}

}  // namespace peerage
