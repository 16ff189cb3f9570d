#include "server/rpc/request/field_errors.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

namespace peerage {

void FieldErrors::Add(absl::string_view path, absl::string_view rule) {
  if (!full()) listed_.push_back({std::string(path), std::string(rule)});
}

absl::Status FieldErrors::ToStatus() const {
  if (listed_.empty()) return absl::OkStatus();
  std::string message = absl::StrCat(listed_[0].path, " ", listed_[0].rule);
  if (listed_.size() > 1) {
    absl::StrAppend(&message, " (and ", full() ? "at least " : "", listed_.size() - 1, " more)");
  }

  google::rpc::BadRequest bad_request;
  for (const Violation& violation : listed_) {
    auto* field = bad_request.add_field_violations();
    field->set_field(violation.path);
    field->set_description(violation.rule);
  }
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload("type.googleapis.com/google.rpc.BadRequest",
                    absl::Cord(bad_request.SerializeAsString()));
  return status;
}

absl::Status FieldError(absl::string_view path, absl::string_view rule) {
  FieldErrors errors;
  errors.Add(path, rule);
  return errors.ToStatus();
}

}  // namespace peerage
