#include "server/device_choice.h"

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
  const std::vector<std::string> names = absl::StrSplit(config.device, ',');
  if (names.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--device: '", config.device, "' names ", names.size(),
                     " devices, and a server computes on one; use ", names[0],
                     " and a server for each of the others"));
  }
  if (const absl::Status status = devices.check(config.device); !status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--device: '", config.device, "': ", status.message(), "; use auto or cpu"));
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
  RETURN_IF_ERROR(CheckDtypes(config, choice));
  return choice;
}

}  // namespace peerage
