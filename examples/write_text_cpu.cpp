// write_text on the device cpu.
#include "cpu_device.hpp"
#include "write_text.hpp"

namespace write_text {

int on_cpu(const program_options& options) { return write_with<examples::cpu_device>(options); }

}  // namespace write_text
