#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Leaves the function with the status of `expression` when it is an error.
#define RETURN_IF_ERROR(expression)                                         \
  do {                                                                      \
    if (absl::Status _status = (expression); !_status.ok()) return _status; \
  } while (false)

// Declares or assigns `target` from a StatusOr, or leaves the function with its error.
#define ASSIGN_OR_RETURN(target, expression) \
  PEERAGE_ASSIGN_OR_RETURN_(PEERAGE_CONCAT_(_status_or_, __LINE__), target, expression)

#define PEERAGE_CONCAT_INNER_(a, b) a##b
#define PEERAGE_CONCAT_(a, b) PEERAGE_CONCAT_INNER_(a, b)
#define PEERAGE_ASSIGN_OR_RETURN_(status_or, target, expression) \
  auto status_or = (expression);                                 \
  if (!status_or.ok()) return std::move(status_or).status();     \
  target = *std::move(status_or)
