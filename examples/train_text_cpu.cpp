// train_text on the device cpu.
#include "cpu_device.hpp"
#include "train_text.hpp"

namespace train_text {

int on_cpu(const program_options& options, const given_options& given) {
  return train<examples::cpu_device>(options, given);
}

}  // namespace train_text
