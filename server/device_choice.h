#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/nn/load_model.h"
#include "server/config.h"

namespace peerage {

// What is known of this machine's devices; tests know something else.
struct KnownDevices {
  std::function<nn::DeviceChoice()> choose = nn::ChooseDevice;
  std::function<absl::Status(absl::string_view device)> check = nn::CheckDevice;
};

// The device that --device gets, with the reason where auto had a choice. An error names the option
// that this device, or this machine, does not serve: an explicit option without effect would be a
// surprise. --cuda-batch-invariant is no such option, for the CPU always does what it asks for.
absl::StatusOr<nn::DeviceChoice> ChooseDevice(const ServerConfig& config,
                                              const KnownDevices& devices = {});

}  // namespace peerage
