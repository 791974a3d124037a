#include "mc-capture/run.hpp"

int main(int argc, char** argv) {
  return mc::cli::run_main("mc-capture", "Capture and encode picture and sound, as a NUT stream on stdout.", argc, argv,
                           mc::tool_capture::run);
}
