#include "server/device_choice.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

absl::StatusOr<nn::DeviceChoice> FindDevice(const ServerConfig& config,
                                            const KnownDevices& devices) {
  if (config.device == "auto") return devices.choose();
  std::set<std::string> names;
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(config.device, ','))) {
    if (const absl::Status status = devices.check(name); !status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--device: '", name, "': ", status.message(), "; use auto or cpu"));
    }
    if (!names.insert(name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("--device: '", config.device, "' names ", name, " twice"));
    }
  }
  return nn::DeviceChoice{.device = config.device, .reason = ""};
}

// "the CPU (no driver)"
std::string Describe(const nn::DeviceChoice& choice) {
  return absl::StrCat(choice.device == "cpu" ? "the CPU" : choice.device,
                      choice.reason.empty() ? "" : " (", choice.reason,
                      choice.reason.empty() ? "" : ")");
}

absl::Status Refuse(absl::string_view option, absl::string_view value, absl::string_view where,
                    const nn::DeviceChoice& choice) {
  return absl::InvalidArgumentError(absl::StrCat(option, ": '", value, "' is for ", where,
                                                 ", and the model would run on ", Describe(choice),
                                                 "; use auto or f32"));
}

// A device has one worker; several on the CPU share its weights.
absl::Status CheckWorkers(const ServerConfig& config, const nn::DeviceChoice& choice) {
  const size_t devices = 1 + std::count(choice.device.begin(), choice.device.end(), ',');
  if (choice.device == "cpu" || config.workers == 1 ||
      config.workers == static_cast<int>(devices)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("--workers: '", config.workers,
                                                 "', and the model would run on ", Describe(choice),
                                                 ", with a worker for each device; leave it out"));
}

absl::Status CheckDtypes(const ServerConfig& config, const nn::DeviceChoice& choice) {
  if (choice.device == "cpu") {
    for (const auto& [option, value] : {std::pair("--activation-dtype", config.activation_dtype),
                                        std::pair("--kv-dtype", config.kv_dtype)}) {
      if (value == "bf16") return Refuse(option, value, "CUDA devices", choice);
    }
    return absl::OkStatus();
  }
  if (config.weights_dtype == "q8_0" || config.weights_dtype == "q4_1") {
    return Refuse("--weights-dtype", config.weights_dtype, "the CPU", choice);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<nn::DeviceChoice> ChooseDevice(const ServerConfig& config,
                                              const KnownDevices& devices) {
  ASSIGN_OR_RETURN(const nn::DeviceChoice choice, FindDevice(config, devices));
  RETURN_IF_ERROR(CheckWorkers(config, choice));
  RETURN_IF_ERROR(CheckDtypes(config, choice));
  return choice;
}

}  // namespace peerage
