// write_text on the device cuda.
#include "cuda_device.hpp"
#include "write_text.hpp"

namespace write_text {

int on_cuda(const program_options& options) { return write_with<examples::cuda_device>(options); }

}  // namespace write_text
