#include "server/identity/policy.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/choice.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "server/identity/principal.h"

namespace peerage {
namespace {

constexpr double kMostPerSecond = 1e12;
constexpr IntRange kPriorities{-100, 100};
constexpr size_t kMostTenantBytes = 128;  // as in `scheduling`

// They are a matter of whoever runs the server.
bool ChangesServer(absl::string_view method) {
  constexpr absl::string_view kMethods[] = {"peerage.v1.AdminService/Drain",
                                            "peerage.v1.AdminService/SetLogLevel",
                                            "peerage.v1.ExpertService/ResetExpertUsage"};
  return std::count(std::begin(kMethods), std::end(kMethods), method) > 0;
}

bool Fits(absl::string_view pattern, absl::string_view method) {
  if (!absl::ConsumeSuffix(&pattern, "*")) return pattern == method;
  return absl::StartsWith(method, pattern) && !ChangesServer(method);
}

// Texts of a list; of no list where the key is absent.
absl::StatusOr<std::vector<std::string>> Strings(JsonObject& object, absl::string_view key,
                                                 std::vector<std::string> fallback) {
  const nlohmann::json* value = object.Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_array()) return object.Error(key, "is not a list of texts");
  std::vector<std::string> strings;
  for (const nlohmann::json& element : *value) {
    if (!element.is_string()) return object.Error(key, "is not a list of texts");
    strings.push_back(element.get<std::string>());
  }
  return strings;
}

absl::Status ReadMethods(JsonObject& object, const std::vector<std::string>& known,
                         Permissions& permissions) {
  ASSIGN_OR_RETURN(const std::vector<std::string> patterns, Strings(object, "methods", {}));
  for (const std::string& pattern : patterns) {
    bool fits = false;
    for (const std::string& method : known) {
      if (!Fits(pattern, method)) continue;
      fits = true;
      permissions.methods.insert(method);
    }
    if (!fits) return object.Error("methods", absl::StrCat("has ", Quoted(pattern), ", no method"));
  }
  return absl::OkStatus();
}

absl::Status ReadPriorities(JsonObject& object, Permissions& permissions) {
  if (object.Find("priorities") == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<int> range, object.Ints("priorities", kPriorities));
  if (range.size() != 2 || range[0] > range[1]) {
    return object.Error("priorities", "is not a list of the first and the last one");
  }
  permissions.first_priority = range[0];
  permissions.last_priority = range[1];
  return absl::OkStatus();
}

absl::Status ReadTenants(JsonObject& object, Permissions& permissions) {
  if (object.Find("tenants") == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(permissions.tenants, Strings(object, "tenants", {}));
  if (permissions.tenants.empty()) return object.Error("tenants", "must not be empty");
  for (const std::string& tenant : permissions.tenants) {
    if (tenant.size() > kMostTenantBytes) {
      return object.Error("tenants",
                          absl::StrCat("has one of more than ", kMostTenantBytes, " bytes"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<double>> Rate(JsonObject& object, absl::string_view key) {
  if (object.Find(key) == nullptr) return std::nullopt;
  ASSIGN_OR_RETURN(const float rate, object.Number(key, {.max = kMostPerSecond}, 1));
  return rate;
}

absl::Status ReadLimits(JsonObject& object, Permissions& permissions) {
  ASSIGN_OR_RETURN(permissions.requests_per_second, Rate(object, "requests_per_second"));
  ASSIGN_OR_RETURN(permissions.tokens_per_second, Rate(object, "tokens_per_second"));
  if (object.Find("concurrency") == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(permissions.concurrency, object.Int("concurrency", {1, 1'000'000}));
  return absl::OkStatus();
}

absl::StatusOr<Permissions> ReadEntry(JsonObject object,
                                      const std::vector<std::string>& known_methods) {
  Permissions permissions;
  RETURN_IF_ERROR(ReadMethods(object, known_methods, permissions));
  ASSIGN_OR_RETURN(permissions.models, Strings(object, "models", {"*"}));
  RETURN_IF_ERROR(ReadPriorities(object, permissions));
  RETURN_IF_ERROR(ReadTenants(object, permissions));
  ASSIGN_OR_RETURN(permissions.traces, ParseChoice(object, "traces", kExpertTraceLevels,
                                                   std::optional(ExpertTraceLevel::kNone)));
  ASSIGN_OR_RETURN(permissions.hidden_states, object.Bool("hidden_states", false));
  ASSIGN_OR_RETURN(permissions.expert_control, object.Bool("expert_control", false));
  RETURN_IF_ERROR(ReadLimits(object, permissions));
  RETURN_IF_ERROR(object.RefuseUnreadKeys());
  return permissions;
}

}  // namespace

bool Lists(const std::vector<std::string>& names, const std::string& name) {
  return std::any_of(names.begin(), names.end(), [&name](const std::string& listed) {
    return listed == "*" || listed == name;
  });
}

absl::StatusOr<Policy> Policy::Parse(absl::string_view text,
                                     const std::vector<std::string>& known_methods) {
  ASSIGN_OR_RETURN(const nlohmann::json root, ParseStrictJson(text));
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(root, ""));
  const nlohmann::json* principals = object.Find("principals");
  if (principals == nullptr || !principals->is_object()) {
    return object.Error("principals", "is not an object of names and what each may do");
  }
  RETURN_IF_ERROR(object.RefuseUnreadKeys());
  Policy policy;
  for (const auto& [name, value] : principals->items()) {
    const std::string path = absl::StrCat("principals.", Quoted(name));
    if (name != kAnonymous && name != kAnyPrincipal) {
      RETURN_IF_ERROR(At(path, CheckPrincipalName(name)));
    }
    ASSIGN_OR_RETURN(JsonObject entry, JsonObject::Of(value, path));
    ASSIGN_OR_RETURN(Permissions permissions, ReadEntry(std::move(entry), known_methods));
    policy.entries_[name] = std::make_shared<const Permissions>(std::move(permissions));
  }
  return policy;
}

Policy Policy::OfKnown(const std::vector<std::string>& known_methods) {
  Permissions everything{.models = {"*"},
                         .first_priority = static_cast<int32_t>(kPriorities.min),
                         .last_priority = static_cast<int32_t>(kPriorities.max),
                         .tenants = {"*"},
                         .traces = ExpertTraceLevel::kFull,
                         .hidden_states = true,
                         .expert_control = true};
  for (const std::string& method : known_methods) {
    if (Fits("*", method)) everything.methods.insert(method);
  }
  Policy policy;
  policy.entries_[kAnyPrincipal] = std::make_shared<const Permissions>(std::move(everything));
  return policy;
}

std::shared_ptr<const Permissions> Policy::Find(const std::string& principal) const {
  const auto own = entries_.find(principal);
  if (own != entries_.end()) return own->second;
  if (principal == kAnonymous) return nullptr;
  const auto any = entries_.find(kAnyPrincipal);
  return any == entries_.end() ? nullptr : any->second;
}

}  // namespace peerage
