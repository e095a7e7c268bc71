"""What an ECG is: leads, waveform, files, the simulated heart."""
